"""What training minimises: losses, corruption, augmentation."""
