"""What collections with history remember: one order for what was broadcast to each of them."""
