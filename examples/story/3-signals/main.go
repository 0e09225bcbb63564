//go:build unix

// Command 3-signals receives signals on a channel. Ctrl-C no longer ends it: the program now
// decides what a signal means.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 8) // with a buffer: Notify drops a signal that nobody receives
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCONT)
	// SIGKILL and SIGSTOP could be named here too, without effect: the kernel never delivers them.
	fmt.Println("listening, pid", os.Getpid())
	for s := range signals {
		switch s {
		case syscall.SIGCONT:
			fmt.Println("CONT: somebody had stopped me, and I was not told when")
		case syscall.SIGINT:
			fmt.Println("INT: Ctrl-C; I go on, since I can")
		case syscall.SIGTERM:
			fmt.Println("TERM: the platform wants me to end, so I end")
			return
		}
	}
}
