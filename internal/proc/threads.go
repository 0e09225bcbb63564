package proc

import (
	"runtime"
	"sync"
)

// ReserveThreads makes the Go runtime create n threads now, which it keeps for later. If the user's
// limit of processes and threads is reached later, the runtime could not create a thread that it
// needs, and would end the whole process.
func ReserveThreads(n int) {
	var made, ended sync.WaitGroup
	enough := make(chan struct{})
	made.Add(n)
	for range n {
		ended.Go(func() {
			runtime.LockOSThread() // no other goroutine gets the thread while this one waits
			defer runtime.UnlockOSThread()
			made.Done()
			<-enough
		})
	}
	made.Wait()
	close(enough)
	ended.Wait()
}
