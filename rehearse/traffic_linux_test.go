package rehearse

import (
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// talker is the program of testdata/talker.
var talker = sync.OnceValues(func() (string, error) {
	file := filepath.Join(filepath.Dir(server), "talker")
	out, err := exec.Command("go", "build", "-o", file, "./testdata/talker").CombinedOutput()
	if err != nil {
		return string(out), err
	}
	return file, nil
})

// Each mistake with what is not one short request is found, for that reason alone, and the program
// without it passes.
func TestTraffic_FindsWhatBecomesOfEachSortOfClient(t *testing.T) {
	program, err := talker()
	if err != nil {
		t.Fatal(program, err)
	}
	all := func(where, lines string) []Target {
		return []Target{
			{URL: "http://" + where}, {URL: "http://" + where + "/events", Use: Stream}, {URL: "ws://" + where + "/ws"},
			{URL: "tcp://" + lines, Body: "ping\r\n"},
		}
	}
	for how, c := range map[string]struct{ fails, warns []Code }{
		"good":           {},
		"cuts-streams":   {fails: []Code{StreamCut}},
		"no-close-frame": {fails: []Code{NoCloseFrame}},
		"resets":         {warns: []Code{Resets}},
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			where, lines := freeAddress(t), freeAddress(t)
			r, err := rehearse(t, Config{
				Program: Container{Command: []string{program, how}, Env: []string{"ADDRESS=" + where, "TCP_ADDRESS=" + lines}},
				Traffic: all(where, lines), Grace: 10 * time.Second,
			})
			if err != nil {
				t.Fatal(err)
			}
			fails, warns := codes(r)
			if !slices.Equal(fails, c.fails) || !slices.Equal(warns, c.warns) || r.ExitCode != 0 {
				t.Errorf("fails %v, want %v; warns %v, want %v; exit code %d\n%s", fails, c.fails, warns, c.warns, r.ExitCode, describe(r))
			}
			for _, code := range []Code{StreamCut, NoCloseFrame, Resets} {
				if !slices.Contains(slices.Concat(fails, warns, r.Passed), code) {
					t.Errorf("%s was not looked for", code)
				}
			}
		})
	}
}
