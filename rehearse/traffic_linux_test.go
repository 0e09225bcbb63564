package rehearse

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/freeport"
)

// talker is the program of testdata/talker.
var talker = sync.OnceValues(func() (string, error) {
	file := filepath.Join(filepath.Dir(server), "talker")
	out, err := exec.Command("go", "build", "-ldflags=-s -w", "-o", file, "./testdata/talker").CombinedOutput()
	if err != nil {
		return string(out), err
	}
	return file, nil
})

// talkerTargets are the targets of the talker, or those of some schemes that clients ask.
func talkerTargets(where, lines, only string) []Target {
	all := []Target{
		{URL: "http://" + where}, {URL: "http://" + where + "/events", Use: Stream}, {URL: "ws://" + where + "/ws"},
		{URL: "tcp://" + lines, Body: "ping\r\n", Answer: "pong"},
		{URL: "h2c://" + where}, {URL: "h2c://" + where + "/events", Use: Stream}, {URL: "h2c://" + where + "/slow", Use: Slow},
		{URL: "grpc://" + where + "/talker"},
	}
	if only == "" {
		return all
	}
	return slices.DeleteFunc(all, func(one Target) bool {
		return one.Use != Ask || !strings.Contains(only, one.URL[:strings.Index(one.URL, ":")])
	})
}

// Each mistake with anything but one short request is found, for that reason alone, and the program
// without it passes.
func TestTraffic_FindsWhatBecomesOfEachSortOfClient(t *testing.T) {
	t.Parallel()
	program, err := talker()
	if err != nil {
		t.Fatal(program, err)
	}
	for how, c := range map[string]struct {
		only         string // the scheme of the only target
		fails, warns []Code
		exit         int
		event        string // part of an event's detail
		long         bool
	}{
		"good":           {},
		"cuts-streams":   {fails: []Code{StreamCut}},
		"no-close-frame": {fails: []Code{NoCloseFrame}},
		"no-goaway":      {only: "http h2c grpc", warns: []Code{NoGoAway}},
		"resets":         {warns: []Code{Resets}},
		"waits":          {warns: []Code{TooSlow}, exit: -1, event: "3 x stream, 2 x WebSocket, 2 x open connection"},
		"answers-late":   {warns: []Code{AnswersLate}},
		"answers-never":  {only: "http", fails: []Code{NotAnswered}, warns: []Code{TooSlow, AnswersLate}, exit: -1},
		"unavailable":    {fails: []Code{NotAnswered}},

		"waits-gracefully":       {only: "grpc", warns: []Code{TooSlow}, exit: -1, event: "1 x stream", long: true},
		"stops-after-a-deadline": {only: "grpc", long: true},
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			if testing.Short() && c.long {
				t.Skip("make test-full: a gRPC server that waits for a stream; TestStreamHTTP2_OfGRPCOutlivesAGoAway is its short form")
			}
			where, lines := freeport.Address(t), freeport.Address(t)
			r, err := rehearse(t, Config{
				Program: Container{Command: []string{program, how}, Env: []string{"ADDRESS=" + where, "TCP_ADDRESS=" + lines}},
				Traffic: talkerTargets(where, lines, c.only), Grace: time.Minute, CutShort: true,
			})
			if err != nil {
				t.Fatal(err)
			}
			fails, warns := codes(r)
			warns = without(warns, c.warns, AnswersLate)
			if how == "no-goaway" { // where it ends, a request or a stream may be within its answer
				fails = without(without(fails, c.fails, CutOff), c.fails, StreamCut)
			}
			if !slices.Equal(fails, c.fails) || !slices.Equal(warns, c.warns) || r.ExitCode != c.exit {
				t.Errorf("fails %v, want %v; warns %v, want %v; exit code %d\n%s", fails, c.fails, warns, c.warns, r.ExitCode, describe(r))
			}
			if !slices.ContainsFunc(r.Events, func(e Event) bool { return strings.Contains(e.Detail, c.event) }) {
				t.Errorf("no event says %q\n%s", c.event, describe(r))
			}
			for _, one := range r.Clients {
				if one.Answered == 0 {
					t.Errorf("%s was never answered at %s", one.Client, one.Target)
				}
			}
			if c.only == "" && len(r.Clients) != 13 {
				t.Errorf("%d sorts of clients: %+v", len(r.Clients), r.Clients)
			}
			for _, code := range []Code{StreamCut, NoCloseFrame, NoGoAway, Resets} {
				if c.only == "" && !slices.Contains(slices.Concat(fails, warns, r.Passed), code) {
					t.Errorf("%s was not looked for", code)
				}
			}
		})
	}
}
