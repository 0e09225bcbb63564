package proc

import (
	"runtime"
	"sync"
)

// ReserveThreads has the Go runtime make n threads now, which it keeps for whoever needs one. Where
// the processes and threads of a user are used up it could make none later, and would then end the
// whole process.
func ReserveThreads(n int) {
	var made, ended sync.WaitGroup
	enough := make(chan struct{})
	made.Add(n)
	for range n {
		ended.Go(func() {
			runtime.LockOSThread() // as long as it waits, the thread is no other goroutine's
			defer runtime.UnlockOSThread()
			made.Done()
			<-enough
		})
	}
	made.Wait()
	close(enough)
	ended.Wait()
}
