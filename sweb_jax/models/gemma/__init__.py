"""All that is Gemma's: the architecture, its forward pass, and what its parameters' names mean."""
