// Command 1-lost starts goroutines and returns from main: they are lost.
package main

import (
	"fmt"
	"time"
)

func main() {
	for i := range 3 {
		go draw(i)
	}
	fmt.Println("main returns")
}

func draw(i int) {
	time.Sleep(300 * time.Millisecond)
	fmt.Println("image", i, "is drawn") // never printed
}
