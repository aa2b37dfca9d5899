"""What a goal sentence means: its phrases, the meaning of each word, and the condition of success that follows."""
