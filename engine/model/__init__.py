"""The nouns: frozen values every room shares. No clock, disk, socket or process is reached from here."""
