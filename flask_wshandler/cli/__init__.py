"""`flask websockets …`: what an operator asks an app, and its running workers.

Imported when one of its commands is looked up; an app pays for the group's name only.
"""
