package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/pgstore"
	"github.com/lastcall-go/lastcall/sqlitestore"
	"github.com/lastcall-go/lastcall/task"
)

// workerVariable makes this program a worker on the store that it names.
const workerVariable = "LASTCALL_BENCH_WORKER"

// patient is a task that works until it is told to stop, and then hands over.
var patient = task.Kind[empty]{Name: "patient", OnStop: task.Interrupt}

func openAddress(address string) (task.Store, error) {
	if path, ok := strings.CutPrefix(address, "sqlite:"); ok {
		return sqlitestore.Open(context.Background(), sqlitestore.Config{Path: path, Logger: quiet})
	}
	return pgstore.Open(context.Background(), pgstore.Config{DSN: address, Migrate: true, Logger: quiet})
}

// beWorker serves the patient kind if this process was started to do so. It prints a line when it is
// ready.
func beWorker() {
	address := os.Getenv(workerVariable)
	if address == "" {
		return
	}
	os.Exit(lastcall.Main(lastcall.Config{Delay: -1, Logger: quiet}, func(ctx context.Context, g *lastcall.Group) error {
		store, err := openAddress(address)
		if err != nil {
			return err
		}
		g.Defer("store", lastcall.NoContext(store.Close))
		var mux task.Mux
		task.Handle(&mux, patient, func(ctx context.Context, r *task.Run, _ empty) error {
			<-ctx.Done()
			return r.Interrupt(ctx, 1)
		})
		w, err := task.NewWorker(task.WorkerConfig{Store: store, Mux: &mux, Logger: quiet})
		if err != nil {
			return err
		}
		if err := g.Go("worker", w.Serve); err != nil {
			return err
		}
		_, err = fmt.Println("ready")
		return err
	}))
}

func handoverPostgres() (float64, error) { return onPostgres(syscall.SIGTERM) }
func handoverSQLite() (float64, error)   { return onSQLite(syscall.SIGTERM) }
func killPostgres() (float64, error)     { return onPostgres(syscall.SIGKILL) }
func killSQLite() (float64, error)       { return onSQLite(syscall.SIGKILL) }

func onPostgres(sig syscall.Signal) (float64, error) {
	return withCluster(func(server *pgtest.Server) (float64, error) { return handover(server.DSN("postgres"), sig) })
}

func onSQLite(sig syscall.Signal) (float64, error) {
	return withFile(func(path string) (float64, error) { return handover("sqlite:"+path, sig) })
}

// handover has a task run in one of two processes, ends that one by a signal, and measures until the
// other one has begun it: from the record of the interruption after SIGTERM, and from the signal
// itself after SIGKILL.
func handover(address string, sig syscall.Signal) (took float64, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	store, err := openAddress(address)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	first, err := startWorker(address)
	if err != nil {
		return 0, err
	}
	defer first.end()
	client := task.NewClient(store)
	e, err := patient.Enqueue(ctx, client, empty{}, nil)
	if err != nil {
		return 0, err
	}
	if _, err := runs(ctx, client, e.ID, 1); err != nil {
		return 0, err
	}
	second, err := startWorker(address)
	if err != nil {
		return 0, err
	}
	defer second.end()
	time.Sleep(3 * time.Second / time.Duration(min(load, 10))) // it has looked at its neighbour, and is idle
	at := time.Now()
	if err := first.cmd.Process.Signal(sig); err != nil {
		return 0, err
	}
	history, err := runs(ctx, client, e.ID, 2)
	if err != nil {
		return 0, err
	}
	if sig == syscall.SIGTERM {
		at = history[0].Ended
	}
	return milliseconds(history[1].Started.Sub(at)), nil
}

// runs waits until a task has so many runs.
func runs(ctx context.Context, client *task.Client, id string, n int) ([]task.RunRecord, error) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		history, err := client.History(ctx, id)
		if err != nil || len(history) >= n {
			return history, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("task %s has %d runs, waiting for %d: %w", id, len(history), n, ctx.Err())
		}
	}
}

// workerProcess is this program as a worker.
type workerProcess struct{ cmd *exec.Cmd }

func startWorker(address string) (*workerProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), workerVariable+"="+address)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	w := &workerProcess{cmd: cmd}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		w.end()
		return nil, fmt.Errorf("the worker is not ready: %w", err)
	}
	return w, nil
}

// end kills the process, if it still runs, and waits for it.
func (w *workerProcess) end() {
	_ = w.cmd.Process.Kill()
	_ = w.cmd.Wait()
}
