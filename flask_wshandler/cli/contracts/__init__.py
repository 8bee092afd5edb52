"""What pages and their handlers call of each other, told to other tools."""
