"""This process: its time, its threads and locks, its end and its forks, its files and its log.

Knows nothing of WebSockets.
"""
