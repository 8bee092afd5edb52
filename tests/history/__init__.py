"""What collections with history remember: every log is held to one contract."""
