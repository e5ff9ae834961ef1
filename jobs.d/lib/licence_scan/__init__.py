"""The pipeline of licence-scan.yaml: inventory, scan, copyrights, report."""
