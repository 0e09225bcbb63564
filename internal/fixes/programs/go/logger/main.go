// A worker that is not held up if nobody reads its log, and exits with 0.
package main

import (
	"bytes"
	"context"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const patience = time.Second // for the last lines of the log

// lines are to be written to the log.
type lines chan []byte

// Write implements io.Writer.
func (l lines) Write(line []byte) (int, error) {
	select {
	case l <- bytes.Clone(line):
	default: // nobody reads: the line is dropped
	}
	return len(line), nil
}

func (l lines) writeTo(w io.Writer, done chan<- struct{}) {
	for line := range l {
		w.Write(line)
	}
	close(done)
}

func work() { time.Sleep(200 * time.Millisecond) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	queue, written := make(lines, 1000), make(chan struct{})
	go queue.writeTo(os.Stderr, written)
	log.SetOutput(queue)
	for ctx.Err() == nil {
		work()
		log.Print("one more item is done")
	}
	log.Print("stopped")
	close(queue)
	select {
	case <-written:
	case <-time.After(patience):
	}
}
