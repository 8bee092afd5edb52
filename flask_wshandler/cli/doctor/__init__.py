"""`flask websockets doctor`: it looks at everything first, and judges what it saw after that."""
