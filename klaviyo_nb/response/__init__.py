"""What to do and what to say. Pure: texts and values, nothing is executed or sent."""
