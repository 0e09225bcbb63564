// Command program is a module of its own.
package main

import _ "os"

// Reply needs no comments on its fields: nobody can use them.
type Reply struct {
	Status string

	Since string
}

func main() {}
