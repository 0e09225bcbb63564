package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// stuckReader is a writer whose lines nobody reads until read is closed.
type stuckReader struct {
	read chan struct{}
	bytes.Buffer
}

func (s *stuckReader) Write(b []byte) (int, error) {
	<-s.read
	return s.Buffer.Write(b)
}

func TestLogWriter_ALineIsWrittenWhenItsWriteReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &stuckReader{read: make(chan struct{})}
		w := newLogWriter(out, nil)
		defer w.close()
		time.AfterFunc(logPatience-1, func() { close(out.read) })
		for i := range 3 {
			line := fmt.Sprintf("line %d\n", i)
			if _, err := io.WriteString(w, line); err != nil || !strings.HasSuffix(out.String(), line) {
				t.Errorf("%q when %q is written: %v", out, line, err)
			}
		}
	})
}

func TestLogWriter_AReaderThatHangsHoldsUpOneLineAndNeitherOthersNorTheEnd(t *testing.T) {
	const over = 7
	for _, wakes := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			out := &stuckReader{read: make(chan struct{})}
			dropped := 0
			w := newLogWriter(out, func(lines int) { dropped += lines })
			began, want := time.Now(), ""
			for i := range 1 + logQueue + over { // the first one is being written
				line := fmt.Sprintf("line %d\n", i)
				if _, err := io.WriteString(w, line); err != nil {
					t.Fatal(err)
				}
				if i <= logQueue {
					want += line
				}
			}
			if took := time.Since(began); took != logPatience {
				t.Errorf("the lines took %v, want %v", took, logPatience)
			}
			if wakes {
				close(out.read)
				synctest.Wait()
				if out.String() != want || dropped != over {
					t.Errorf("%d bytes and %d lines that were dropped, want %d and %d", out.Len(), dropped, len(want), over)
				}
				_, _ = io.WriteString(w, "again\n")
				if !strings.HasSuffix(out.String(), "\nagain\n") {
					t.Error("once all is written, a line is not written when its write returns")
				}
			}
			began = time.Now()
			w.close()
			if took := time.Since(began); wakes && took != 0 || !wakes && took != logEnd {
				t.Errorf("the end took %v", took)
			}
			if _, err := io.WriteString(w, "late\n"); err == nil {
				t.Error("a line after the end is written")
			}
			if !wakes {
				close(out.read)
			}
		})
	}
}

func TestServe_EndsWellThoughNobodyReadsItsLog(t *testing.T) {
	t.Parallel()
	unread, log, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer unread.Close()
	defer log.Close()
	for size := 1 << 12; size > 0; size /= 2 { // until not even a byte fits
		for err = nil; err == nil; {
			_ = log.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
			_, err = log.Write(make([]byte, size))
		}
	}
	cmd := exec.CommandContext(t.Context(), "lastcall", "serve", "--store", "sqlite:"+filepath.Join(t.TempDir(), "tasks.db"), "--listen", "127.0.0.1:0")
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if first, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("%q, %v", first, err)
	}
	// A write that holds up the worker makes it 3, after the grace.
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}
