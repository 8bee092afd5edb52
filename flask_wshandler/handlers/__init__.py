"""The user's class, and how its callbacks run: in which order, and in which of Flask's contexts."""
