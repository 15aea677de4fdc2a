"""What a person looks at: figures as functions of results, and pages made of them."""
