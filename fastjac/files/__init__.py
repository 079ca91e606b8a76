"""What a model file and a checkpoint look like, whoever writes them."""
