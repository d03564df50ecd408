"""What people and programs reach over HTTP: today the score API alone (`serve`)."""
