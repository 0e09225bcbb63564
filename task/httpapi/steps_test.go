package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/lastcall-go/lastcall/task"
)

func TestRetry_BeginsWhereItIsTold(t *testing.T) {
	onEachStore(t, func(t *testing.T, s *site) {
		called := make(chan string, 10)
		var mux task.Mux
		task.Handle(&mux, task.Kind[any]{Name: "k", MaxAttempts: 1}, func(ctx context.Context, r *task.Run, _ any) error {
			_, err := task.Step(ctx, r, "a", func(context.Context) (int, error) { called <- "a"; return 1, nil })
			if err != nil {
				return err
			}
			_, err = task.Step(ctx, r, "b", func(context.Context) (int, error) { called <- "b"; return 0, errors.New("oh") })
			return err
		})
		s.work(&mux, nil)
		s.ask("POST", "/v1/tasks", `{"id": "`+someID+`", "kind": "k", "payload": 1}`)
		for _, c := range []struct{ body, called, steps string }{
			{"", "ab", "a done"},
			{`{}`, "b", "a done"},
			{`{"fromStart": true}`, "ab", "a done"},
			{`{"fromStart": false, "skipSteps": ["a", "b"]}`, "", "a done, b skipped"},
		} {
			if c.body != "" { // the first one looks at the first run
				if r := s.ask("POST", "/v1/tasks/"+someID+"/retry", c.body); r.status != http.StatusNoContent {
					t.Fatalf("retry %s: %d %s", c.body, r.status, r.body)
				}
			}
			if _, err := s.client("").Wait(t.Context(), someID); err != nil {
				t.Fatal(err)
			}
			got := ""
			for len(called) > 0 {
				got += <-called
			}
			var shown stepPage
			s.into(s.ask("GET", "/v1/tasks/"+someID+"/steps", ""), http.StatusOK, &shown)
			var steps []string
			for _, p := range shown.Steps {
				steps = append(steps, p.Name+" "+string(p.State))
				if p.Size != len(p.Body) || (p.Size > 0) != (p.State == task.StepDone) {
					t.Errorf("%+v", p)
				}
			}
			if got != c.called || strings.Join(steps, ", ") != c.steps {
				t.Errorf("after a retry with %q: called %q, steps %q", c.body, got, steps)
			}
		}
	})
}
