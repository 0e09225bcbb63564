module broken.test/program

go 1.26
