package main

import (
	"context"
	_ "embed" // schema.sql
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/pgstore"
)

// order is the request of a client, and the payload of its task.
type order struct {
	Lines int `json:"lines"`
}

// labels prints a label for each line of an order.
var labels = task.Kind[order]{Name: "labels"}

const (
	perLabel = 50 * time.Millisecond // the time of the printer
	patience = 20 * time.Second      // for how long a request waits for its order
)

//go:embed schema.sql
var schema string

// shop is the business.
type shop struct {
	pool   *pgxpool.Pool
	client *task.Client
}

// newShop creates the tables and registers the handler.
func newShop(ctx context.Context, pool *pgxpool.Pool, client *task.Client, mux *task.Mux) (*shop, error) {
	if _, err := pool.Exec(ctx, schema); err != nil {
		return nil, err
	}
	s := &shop{pool, client}
	task.Handle(mux, labels, s.print)
	return s, nil
}

// print prints each label once, however the process ends: the label's row and the checkpoint are in
// one transaction. At last call it hands over to the next process.
func (s *shop) print(ctx context.Context, r *task.Run, o order) error {
	var line int
	if _, err := r.Load(&line); err != nil {
		return err
	}
	for ; line < o.Lines; line++ {
		if r.Stopping() {
			return r.HandOver(line)
		}
		time.Sleep(perLabel)
		err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "insert into labels (order_id, line) values ($1, $2)", r.ID(), line); err != nil {
				return err
			}
			return r.SaveTx(ctx, pgstore.Tx(tx), line+1)
		})
		if err != nil {
			return err // the next run begins at the stored checkpoint
		}
	}
	return r.SetResult(map[string]int{"printed": o.Lines})
}

func (s *shop) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders", s.place)
	mux.HandleFunc("GET /orders/{id}", s.await)
	return mux
}

// place records an order and its task: both or neither.
func (s *shop) place(w http.ResponseWriter, r *http.Request) {
	var o order
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<10)).Decode(&o); err != nil || o.Lines < 1 || o.Lines > 1000 {
		http.Error(w, `send {"lines": N}, with N from 1 to 1000`, http.StatusBadRequest)
		return
	}
	var id string
	err := pgx.BeginFunc(r.Context(), s.pool, func(tx pgx.Tx) error {
		t, err := labels.Enqueue(r.Context(), s.client.WithTx(pgstore.Tx(tx)), o, nil)
		if err != nil {
			return err
		}
		id = t.ID
		_, err = tx.Exec(r.Context(), "insert into orders (id, lines) values ($1, $2)", id, o.Lines)
		return err
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	s.client.Wake() // a worker begins it now, and not at its next poll
	w.Header().Set("Location", "/orders/"+id)
	answer(w, http.StatusAccepted, task.Task{ID: id, Status: task.StatusQueued})
}

// await answers when an order is done. After a while, and at last call, it answers 202, so that no
// request holds up a stop. The client asks again, and another process answers.
func (s *shop) await(w http.ResponseWriter, r *http.Request) {
	wait, cancel := context.WithTimeout(lastcall.UntilLastCall(r.Context()), patience)
	defer cancel()
	t, err := s.client.Wait(wait, r.PathValue("id"))
	if err != nil && wait.Err() != nil {
		t, err = s.client.Get(r.Context(), r.PathValue("id"))
	}
	switch {
	case errors.Is(err, task.ErrNotFound):
		http.Error(w, "there is no such order", http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	case !t.Status.Ended():
		w.Header().Set("Retry-After", "1")
		answer(w, http.StatusAccepted, t)
	default:
		answer(w, http.StatusOK, t)
	}
}

func answer(w http.ResponseWriter, code int, t task.Task) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]any{"id": t.ID, "status": t.Status, "result": json.RawMessage(t.Result)})
}
