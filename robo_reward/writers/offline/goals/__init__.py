"""The meaning of a goal sentence: its phrases, the meaning of each word, and the condition of success that follows."""
