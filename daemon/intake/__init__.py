"""What comes in: watched for, found, admitted once it is whole, and taken in hand."""
