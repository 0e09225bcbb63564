package rehearse

import (
	"bufio"
	"io"
	"os"
	"syscall"
	"testing"
)

// The process group of other systems is tested here too: nothing in it needs them.
func TestProcessGroup_NothingOfItOutlivesTheProgramOrItsKill(t *testing.T) {
	t.Parallel()
	for command, want := range map[string]struct {
		code   int
		signal syscall.Signal
	}{
		"echo begun; sleep 1000 & exit 3":        {3, 0},
		"echo begun; sleep 1000 & kill -TERM $$": {-1, syscall.SIGTERM},
		"echo begun; sleep 1000 & wait":          {-1, syscall.SIGKILL},
	} {
		out, in, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		g, err := startGroup("/bin/sh", []string{"sh", "-c", command}, []*os.File{nil, in, in})
		in.Close()
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(out)
		if _, err := lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		if want.signal != syscall.SIGKILL {
			<-g.Exited()
		}
		for range 2 { // the second one finds nothing
			if err := g.Kill(); err != nil {
				t.Error(err)
			}
		}
		if exit := g.Exit(); exit.Code != want.code || exit.Signal != want.signal {
			t.Errorf("%s: %+v, want %+v", command, exit, want)
		}
		if _, err := io.Copy(io.Discard, lines); err != nil { // it ends when nobody can write any more
			t.Error(err)
		}
	}
}
