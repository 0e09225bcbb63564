module broken.test

go 1.26
