// Command 2-wait waits for its goroutines with a sync.WaitGroup. Ctrl-C still
// ends all of them, in the middle of what they do.
package main

import (
	"fmt"
	"sync"
	"time"
)

func main() {
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() { draw(i) })
	}
	fmt.Println("main waits")
	wg.Wait()
	fmt.Println("main returns")
}

func draw(i int) {
	time.Sleep(300 * time.Millisecond)
	fmt.Println("image", i, "is drawn")
}
