"""What a network is made of: activations, layers, losses, optimizers, and the plan of its compiled form."""
