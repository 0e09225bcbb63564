package execkind

import (
	"fmt"
	"sync"
)

// notice is a run's stop file. It is written concurrently to everything else: the directory is the
// program's, and whatever delays the writing must not delay the stop.
type notice struct {
	folder *folder

	sync.WaitGroup            // of the writers, which end with the program at the latest
	mu             sync.Mutex // held while a writer writes
	posted         int        // only watch uses it
	written        int
}

// post replaces the content of the file by a line in the background. The channel gets the result.
func (n *notice) post(line string) <-chan error {
	n.posted++
	number, result := n.posted, make(chan error, 1)
	n.Go(func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		var err error
		if number > n.written { // no later line was written
			n.written = number
			err = n.folder.write(stopName, []byte(line))
		}
		if err != nil {
			err = fmt.Errorf("stop file: %w", err)
		}
		result <- err
	})
	return result
}
