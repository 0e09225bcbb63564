// Command agent answers a question with many calls of a model that is slow and charges for each
// call. Each call is a step of a task: its answer is recorded before the next call is made. Kill
// the program at any moment and start it again: at most the call that was under way is made twice.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/sqlitestore"
)

var (
	serve    = flag.String("serve", "", "be the model, on this address, instead of the agent")
	takes    = flag.Duration("takes", 2*time.Second, "how long a call of the model takes")
	model    = flag.String("model", "http://127.0.0.1:8091", "where the model is")
	file     = flag.String("db", "agent.db", "the file that keeps the task")
	question = flag.String("question", "Why do deploys lose work?", "what to ask")
)

func main() {
	flag.Parse()
	setup := answer
	if *serve != "" {
		setup = func(_ context.Context, g *lastcall.Group) error {
			l, err := net.Listen("tcp", *serve)
			if err != nil {
				return err
			}
			return g.HTTP("model", &http.Server{Handler: &standIn{takes: *takes}}, l)
		}
	}
	os.Exit(lastcall.Main(lastcall.Config{Grace: 30 * time.Second}, setup))
}

// answer works one task, and ends the program when that has ended.
func answer(ctx context.Context, g *lastcall.Group) error {
	store, err := sqlitestore.Open(ctx, sqlitestore.Config{Path: *file})
	if err != nil {
		return err
	}
	g.Defer("store", lastcall.CloseFunc(store.Close))
	var mux task.Mux
	task.Handle(&mux, research, (&agent{model: *model}).work)
	worker, err := task.NewWorker(task.WorkerConfig{Store: store, Mux: &mux, Concurrency: 1})
	if err != nil {
		return err
	}
	// The id is derived from the question, so it is answered once, even if this process dies before it
	// has printed the answer. A key would be free as soon as the task has ended.
	client := task.NewClient(store)
	asked, err := research.Enqueue(ctx, client, Question{*question}, &task.EnqueueOptions{ID: id(*question)})
	if err != nil {
		return err
	}
	err = g.Loop("answer", func(ctx context.Context) error {
		t, err := client.Wait(ctx, asked.ID)
		if errors.Is(err, lastcall.ErrStopping) {
			return nil // the next process resumes it
		}
		if err == nil {
			fmt.Printf("%s: %s%s\n", t.Status, t.Result, t.Error)
		}
		g.Stop(nil)
		return err
	})
	return errors.Join(err, g.Go("worker", worker.Serve))
}
