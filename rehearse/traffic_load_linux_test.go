package rehearse

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/freeport"
)

// load is the report of a process that only sends requests.
type load struct {
	Answered, Failed, NotSent int
	Failures                  []string // the first ones
	Took, Processor           time.Duration
	Memory                    int64 // at most, in bytes
}

// generateCommand begins the arguments of a test binary that only sends requests: a number, how
// many a second, and the targets.
const generateCommand = "generate"

// generate sends requests until that many are answered.
func generate(args []string) error {
	requests, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	rate, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	var to []*target
	for _, address := range args[2:] {
		one, err := newTarget(Target{URL: address}, false)
		if err != nil {
			return err
		}
		to = append(to, one)
	}
	begun, before := time.Now(), usage()
	tr := newTraffic(to, rate)
	for limit := 10 * time.Duration(requests/rate+1) * time.Second; tr.counts().answered < requests && time.Since(begun) < limit; {
		time.Sleep(20 * time.Millisecond)
	}
	tr.stop()
	after, counts := usage(), tr.counts()
	said := load{
		Answered: counts.answered, Failed: counts.failed, NotSent: counts.notSent, Took: time.Since(begun),
		Processor: processor(after) - processor(before), Memory: after.Maxrss << 10,
	}
	for _, f := range tr.failed[:min(10, len(tr.failed))] {
		said.Failures = append(said.Failures, fmt.Sprint(f.client, " ", f.failure, " ", f.text))
	}
	return json.NewEncoder(os.Stdout).Encode(said)
}

func usage() (u syscall.Rusage) {
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u
}

func processor(u syscall.Rusage) time.Duration { return time.Duration(u.Utime.Nano() + u.Stime.Nano()) }

// generated runs a separate process, without the race detector, that sends requests to the program
// that does nothing wrong.
func generated(t *testing.T, requests, rate int, schemes ...string) load {
	t.Helper()
	program, err := talker()
	if err != nil {
		t.Fatal(program, err)
	}
	binary := filepath.Join(t.TempDir(), "generator")
	if out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build the generator: %v\n%s", err, out)
	}
	where, lines := freeport.Address(t), freeport.Address(t)
	serving := exec.CommandContext(t.Context(), program, "good")
	serving.Env = append(os.Environ(), "ADDRESS="+where, "TCP_ADDRESS="+lines)
	if err := serving.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = serving.Process.Kill(); _ = serving.Wait() }()
	openSoon(t, where)
	args := []string{generateCommand, strconv.Itoa(requests), strconv.Itoa(rate)}
	for _, scheme := range schemes {
		args = append(args, scheme+"://"+where+map[string]string{"ws": "/ws", "grpc": "/talker"}[scheme])
	}
	generating := exec.CommandContext(t.Context(), binary, args...)
	var out bytes.Buffer
	generating.Stdout, generating.Stderr = &out, os.Stderr
	if err := generating.Run(); err != nil {
		t.Fatalf("%v: %s", err, &out)
	}
	var said load
	if err := json.Unmarshal(out.Bytes(), &said); err != nil {
		t.Fatalf("%v: %s", err, &out)
	}
	t.Logf("%d answered in %v, %v of a processor, that is %v for each; %d MiB; %d failed, %d not sent",
		said.Answered, said.Took.Round(time.Millisecond), said.Processor.Round(time.Millisecond), said.Processor/time.Duration(max(1, said.Answered)),
		said.Memory>>20, said.Failed, said.NotSent)
	return said
}

// openSoon waits until a process listens.
func openSoon(t *testing.T, address string) {
	t.Helper()
	to := targets(t, Target{URL: "http://" + address})[0]
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if _, err := to.answers(t.Context()); err == nil {
			return
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func TestTraffic_AThousandRequestsASecondTakeAFifthOfAProcessor(t *testing.T) {
	if testing.Short() {
		t.Skip("make test-full: the processor time of a generator without the race detector")
	}
	said := generated(t, 10_000, 1000, "http")
	if share := said.Processor.Seconds() / said.Took.Seconds(); share > 0.2 {
		t.Errorf("it took %.0f %% of a processor", 100*share)
	}
	if rate := float64(said.Answered) / said.Took.Seconds(); rate < 500 {
		t.Errorf("%.0f requests a second were answered, of 1000", rate)
	}
	if said.Failed > 0 || said.Memory > 100<<20 {
		t.Errorf("%+v", said)
	}
}

func TestTraffic_OfAMillionRequestsNoneFailsThatTheServerAnswers(t *testing.T) {
	if testing.Short() {
		t.Skip("make test-full: a million requests, and 50,000 of each other sort")
	}
	t.Parallel()
	for schemes, requests := range map[[3]string]int{{"http"}: 1_000_000, {"h2c", "grpc", "ws"}: 50_000} {
		var given []string
		for _, one := range schemes {
			if one != "" {
				given = append(given, one)
			}
		}
		if said := generated(t, requests, 3000/len(given), given...); said.Answered < requests || said.Failed > 0 || said.Memory > 100<<20 {
			t.Errorf("%v: %+v", given, said)
		}
	}
}
