package test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/pgstore"
	"github.com/lastcall-go/lastcall/task/sqlitestore"
)

// workerVariable makes this test binary a worker process. Its value is a job as JSON.
const workerVariable = "LASTCALL_TEST_WORKER"

// job configures a worker process.
type job struct {
	Store string
	Grace time.Duration
	Lease time.Duration // 0 means the default, for which no test waits
	Slots int
	// Accept is how many tasks the process enqueues itself, one after the other, with random choices
	// from Seed.
	Accept int
	Seed   uint64
}

// Exit codes of a worker process in addition to lastcall's.
const (
	codeLeak   = 97 // goroutines were left
	codeOrphan = 98 // the test has ended
)

// workerMain is the main function of a worker process.
func workerMain(text string) int {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		fmt.Println("job:", err)
		return 2
	}
	go endWithParent()
	p := &workerProgram{job: j, log: slog.New(slog.NewTextHandler(os.Stdout, nil))}
	code := lastcall.Main(lastcall.Config{Grace: j.Grace, Logger: p.log, TerminationLog: "-"}, p.setUp)
	if code == abandoned { // its goroutine is still there
		return code
	}
	if left := leftGoroutines(); left != "" {
		fmt.Printf("goroutines are left:\n%s\n", left)
		return codeLeak
	}
	return code
}

// endWithParent ends a worker process when the tests have ended.
func endWithParent() {
	_, _ = io.Copy(io.Discard, os.Stdin) // only its end matters
	os.Exit(codeOrphan)
}

// leftGoroutines returns the stacks of the goroutines of the library and of the databases' drivers
// that are still running after a moment, or "" if there are none.
func leftGoroutines() string {
	var left []string
	for deadline := time.Now().Add(3 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
		buf := make([]byte, 4<<20)
		left = nil
		// The first stack is our own.
		for _, stack := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")[1:] {
			for _, who := range []string{"lastcall-go/lastcall", "database/sql", "jackc/"} {
				if strings.Contains(stack, who) && !strings.Contains(stack, "endWithParent") {
					left = append(left, stack)
					break
				}
			}
		}
		if left == nil {
			return ""
		}
	}
	return strings.Join(left, "\n\n")
}

// workerProgram is the state of a worker process.
type workerProgram struct {
	job    job
	log    *slog.Logger
	ledger *ledger
	client *task.Client
}

func (p *workerProgram) setUp(ctx context.Context, g *lastcall.Group) error {
	store, err := openStore(ctx, p.job.Store, p.log)
	if err != nil {
		return err
	}
	g.Defer("store", lastcall.CloseFunc(store.Close))
	if p.ledger, err = openLedger(p.job.Store); err != nil {
		return err
	}
	g.Defer("ledger", lastcall.CloseFunc(p.ledger.db.Close))
	p.client = task.NewClient(store)
	w, err := task.NewWorker(task.WorkerConfig{Store: store, Mux: p.mux(), Concurrency: p.job.Slots,
		Lease: p.job.Lease, Retention: -1, Logger: p.log})
	if err != nil {
		return err
	}
	if p.job.Accept > 0 {
		if err := g.Loop("accept", p.accept); err != nil {
			return err
		}
	}
	return g.Go("worker", w.Serve)
}

// openStore opens the store at an address.
func openStore(ctx context.Context, address string, log *slog.Logger) (task.Store, error) {
	if path, ok := strings.CutPrefix(address, "sqlite:"); ok {
		return sqlitestore.Open(ctx, sqlitestore.Config{Path: path, Logger: log})
	}
	return pgstore.Open(ctx, pgstore.Config{DSN: address, Migrate: true, Logger: log})
}

// accept enqueues tasks and reports each of them, like a server that answers its clients.
func (p *workerProgram) accept(ctx context.Context) error {
	rng := rand.New(rand.NewPCG(p.job.Seed, 0))
	for range p.job.Accept {
		w := randomWork(rng)
		w.InTx = !strings.HasPrefix(p.job.Store, "sqlite:") && rng.IntN(2) == 0
		got, err := steps.Enqueue(ctx, p.client, w, nil)
		if err != nil {
			return err // after last call, an error that is the context's is a clean end
		}
		fmt.Printf("accepted task=%s\n", got.ID)
		pause(ctx, time.Duration(rng.Int64N(int64(60*time.Millisecond))))
	}
	<-ctx.Done()
	return nil
}

// randomWork is a short task.
func randomWork(rng *rand.Rand) work {
	return work{Steps: 3 + rng.IntN(6), Pace: 30*time.Millisecond + time.Duration(rng.Int64N(int64(120*time.Millisecond)))}
}

// pause waits for d, and reports whether ctx is still active.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// effect writes an effect to the ledger. While the ledger is unreachable it waits, until ctx ends.
func (p *workerProgram) effect(ctx context.Context, r *task.Run, step int) error {
	for {
		err := p.ledger.add(ctx, p.ledger.db, effect{r.ID(), step, r.FencingToken(), os.Getpid()})
		switch {
		case err == nil:
			if step >= 0 {
				fmt.Printf("did task=%s step=%d\n", r.ID(), step)
			}
			return nil
		case errors.Is(err, errStale):
			p.log.Warn("effect refused", "task", r.ID(), "run", r.FencingToken(), "step", step)
			return err
		}
		p.log.Warn("effect not written yet", "task", r.ID(), "step", step, "error", err)
		if !pause(ctx, 50*time.Millisecond) {
			return context.Cause(ctx)
		}
	}
}
