"""What the viewers get from this server beside MONAI Label's own."""
