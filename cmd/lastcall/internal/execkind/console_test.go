package execkind

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/lastcall-go/lastcall/task"
)

// feed writes a text to a console's standard output, and to its standard error.
func feed(t *testing.T, c *console, stdout, stderr func(*os.File) error) {
	t.Helper()
	out, errs, err := c.pipes()
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(stdout(out), stderr(errs), out.Close(), errs.Close())
	c.readers.Wait()
	c.close()
	if err != nil {
		t.Fatal(err)
	}
}

func text(s string) func(*os.File) error {
	return func(f *os.File) error {
		_, err := f.WriteString(s)
		return err
	}
}

func TestOutput_IsTakenLineByLineAndProgressIsNoOutput(t *testing.T) {
	var c console
	feed(t, &c, text("one\r\n\n::progress 0.5  half  \n::progress much\n ::progress 0.6\ntwo"), text(""))
	if got, want := string(c.lines), "one\n\n::progress much\n ::progress 0.6\ntwo\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if !c.progress || c.fraction != 0.5 || c.message != "half" {
		t.Errorf("progress %v %v %q", c.progress, c.fraction, c.message)
	}
}

func TestOutput_ErrorOutputIsTakenToo(t *testing.T) {
	var c console
	feed(t, &c, text(""), text("oh\n\xff no\n\n"))
	if got, want := string(c.lines), "oh\n\xff no\n\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if c.complaint() != "\uFFFD no" {
		t.Errorf("last words %q", c.complaint())
	}
}

func TestOutput_ALineWithoutAnEndIsBrokenAndItsPartsAreNoProgress(t *testing.T) {
	var c console
	feed(t, &c, text(strings.Repeat("x", maxLine)+"::progress 0.5\n"), text(""))
	if want := strings.Repeat("x", maxLine) + "\n::progress 0.5\n"; string(c.lines) != want || c.progress {
		t.Errorf("%d bytes, progress %v", len(c.lines), c.progress)
	}
}

func TestOutput_AFloodOfOutputKeepsItsEndAndTakesNoMemory(t *testing.T) {
	const rounds = 4 << 10 // of 64 KiB
	for name, block := range map[string]string{
		"lines":        strings.Repeat("the quick brown fox jumps over the lazy dog, again!!!!!\n", 1170),
		"without ends": strings.Repeat("\x00\xff", 32<<10),
	} {
		var before, after runtime.MemStats
		var c console
		runtime.ReadMemStats(&before)
		feed(t, &c, func(f *os.File) error {
			for range rounds {
				if _, err := f.WriteString(block); err != nil {
					return err
				}
			}
			_, err := f.WriteString("\nthe end\n")
			return err
		}, text(""))
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
			t.Errorf("%s: %d bytes were allocated", name, n)
		}
		if len(c.lines) > 2*task.MaxLog || !bytes.HasSuffix(c.lines, []byte("\nthe end\n")) || c.left < int64(rounds)*int64(len(block))*9/10 {
			t.Errorf("%s: %d bytes are kept, %d left out, the end is %q", name, len(c.lines), c.left, fmt.Sprintf("%.20s", c.lines[max(0, len(c.lines)-20):]))
		}
	}
}
