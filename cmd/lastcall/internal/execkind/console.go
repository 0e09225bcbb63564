package execkind

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/lastcall-go/lastcall/task"
)

const (
	// maxLine is the length at which a line of output is broken.
	maxLine = 16 << 10
	// progressMark begins a line of standard output that reports progress and is not kept as output.
	progressMark = "::progress "
)

// console receives what a program prints. It never makes the program wait for the store. Of the
// output that it has not yet passed to the run, it keeps the last task.MaxLog bytes.
type console struct {
	readers sync.WaitGroup
	close   func() // ends the reading, even if a process still holds the other ends

	mu       sync.Mutex
	lines    []byte
	left     int64 // bytes that were dropped
	fraction float64
	message  string
	progress bool   // fraction and message are new
	lastErr  string // the last line of standard error that was not empty
}

// read reads a stream to its end, in a goroutine of its own. It calls line with each line, or with
// each piece of a very long one; begins is true for the first piece.
func (c *console) read(f *os.File, line func(b []byte, begins bool)) {
	c.readers.Go(func() {
		r := bufio.NewReaderSize(f, maxLine)
		for begins := true; ; {
			b, err := r.ReadSlice('\n')
			if len(b) > 0 {
				line(bytes.TrimRight(b, "\r\n"), begins)
			}
			if begins = err == nil; !begins && !errors.Is(err, bufio.ErrBufferFull) {
				return // the end; or closed, because the tree did not end
			}
		}
	})
}

// stdout handles a line of standard output.
func (c *console) stdout(line []byte, begins bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if rest, ok := bytes.CutPrefix(line, []byte(progressMark)); ok && begins {
		number, message, _ := strings.Cut(strings.TrimSpace(string(rest)), " ")
		if fraction, err := strconv.ParseFloat(number, 64); err == nil {
			c.fraction, c.message, c.progress = fraction, strings.TrimSpace(message), true
			return
		}
	}
	c.add(line)
}

// stderr handles a line of standard error.
func (c *console) stderr(line []byte, _ bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(line)
	if said := bytes.TrimSpace(line); len(said) > 0 {
		c.lastErr = strings.ToValidUTF8(string(said[:min(len(said), 200)]), "\uFFFD")
	}
}

// add keeps a line. It drops old ones, half of what is kept at a time.
func (c *console) add(line []byte) {
	c.lines = append(append(c.lines, line...), '\n')
	if len(c.lines) > 2*task.MaxLog {
		c.trim()
	}
}

// trim drops the lines before the last task.MaxLog bytes.
func (c *console) trim() {
	over := len(c.lines) - task.MaxLog
	if over <= 0 {
		return
	}
	if end := bytes.IndexByte(c.lines[over:], '\n'); end >= 0 {
		over += end + 1
	}
	c.left += int64(over)
	c.lines = append(c.lines[:0], c.lines[over:]...)
}

// flush passes to the run what has arrived since the last time.
func (c *console) flush(run *task.Run) {
	c.mu.Lock()
	c.trim()
	lines, left := c.lines, c.left
	c.lines, c.left = nil, 0
	fraction, message, progress := c.fraction, c.message, c.progress
	c.progress = false
	c.mu.Unlock()
	if progress {
		run.SetProgress(fraction, message)
	}
	if left > 0 {
		run.Log(fmt.Sprintf("[lastcall: %d bytes of output were left out here]", left))
	}
	for line := range bytes.Lines(lines) {
		run.Log(string(bytes.TrimSuffix(line, []byte("\n"))))
	}
}

// complaint returns the last line that the program printed on standard error.
func (c *console) complaint() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lastErr
}

// pipes creates the two streams and begins to read them. It returns the program's ends.
func (c *console) pipes() (stdout, stderr *os.File, err error) {
	outR, outW, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("pipe for the output: %w", err)
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("pipe for the output: %w", err), closeAll(outR, outW))
	}
	c.close = func() { _ = closeAll(outR, errR) } // only read
	c.read(outR, c.stdout)
	c.read(errR, c.stderr)
	return outW, errW, nil
}

func closeAll(files ...io.Closer) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}
