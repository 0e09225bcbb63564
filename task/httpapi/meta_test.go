package httpapi

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"testing"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/memstore"
)

func TestMeta_IsSubmittedShownAndListed(t *testing.T) {
	onEachStore(t, func(t *testing.T, s *site) {
		odd := map[string]string{"a.b/c": `= & "x" <é>`, "empty": ""}
		var first submitted
		s.into(s.ask("POST", "/v1/tasks", `{"kind": "k", "payload": 1, "meta": {"tenant": "acme", "trace": "t-1"}}`), http.StatusCreated, &first)
		s.into(s.ask("POST", "/v1/tasks", `{"id": "`+first.ID+`", "kind": "k", "payload": 1, "meta": {"trace": "t-2"}}`), http.StatusOK, &first)
		c := s.client("")
		second, err := c.Enqueue(t.Context(), "k", []byte("2"), &task.EnqueueOptions{Meta: odd})
		if err != nil {
			t.Fatal(err)
		}
		third, err := task.Prepare("k", []byte("3"), &task.EnqueueOptions{Meta: map[string]string{"tenant": "acme"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.EnqueueMany(t.Context(), []task.NewTask{third}); err != nil {
			t.Fatal(err)
		}
		var shown Task
		s.into(s.ask("GET", "/v1/tasks/"+first.ID, ""), http.StatusOK, &shown)
		if !maps.Equal(shown.Meta, map[string]string{"tenant": "acme", "trace": "t-1"}) {
			t.Errorf("%v", shown.Meta)
		}
		if got, err := c.Get(t.Context(), second.ID); err != nil || !maps.Equal(got.Meta, odd) {
			t.Errorf("%v, %v", got.Meta, err)
		}
		for query, want := range map[string][]string{
			"meta=tenant=acme":                               {third.ID, first.ID},
			"meta=tenant=acme&meta=trace=t-1":                {first.ID},
			"meta=tenant=acme&kind=other":                    nil,
			"meta=empty=":                                    {second.ID},
			"meta=" + url.QueryEscape("a.b/c="+odd["a.b/c"]): {second.ID},
			"meta=": {third.ID, second.ID, first.ID},
		} {
			var p page
			s.into(s.ask("GET", "/v1/tasks?"+query, ""), http.StatusOK, &p)
			got := make([]string, len(p.Tasks))
			for i, one := range p.Tasks {
				got[i] = one.ID
			}
			if len(got) != len(want) || len(got) > 0 && got[0] != want[0] || len(got) > 1 && got[1] != want[1] {
				t.Errorf("%s: %v, want %v", query, got, want)
			}
		}
		if found, err := c.Find(t.Context(), task.Query{Meta: odd}); err != nil || len(found) != 1 || found[0].ID != second.ID || !maps.Equal(found[0].Meta, odd) {
			t.Errorf("the client found %+v, %v", found, err)
		}
		for body, says := range map[string]string{
			`"x"`: "an object whose values are texts", `{"a": 1}`: "give a text", `{"a": null}`: "give a text", `{"a": "x", "a": "y"}`: "each name once",
			`{"a b": "x"}`: "may have only letters", `{"a": "\u0000"}`: "without NUL",
		} {
			s.refused(s.ask("POST", "/v1/tasks", `{"kind": "k", "payload": 1, "meta": `+body+`}`), "invalid", says)
		}
		for query, says := range map[string]string{"meta=tenant": "key=value", "meta==x": "key=value", "meta=a=1&meta=a=2": "each key once", "meta=a%20b=1": "may have only letters"} {
			s.refused(s.ask("GET", "/v1/tasks?"+query, ""), "invalid", says)
		}
	})
}

// A trace id goes from the request into the task, whichever client submits it.
func TestConfigUse_SeesTheContextOfTheRequest(t *testing.T) {
	store := memstore.New()
	type traceKey struct{}
	s := serve(t, Config{Store: store, Use: []func(task.EnqueueFunc) task.EnqueueFunc{func(next task.EnqueueFunc) task.EnqueueFunc {
		return func(ctx context.Context, tasks []task.NewTask) ([]task.EnqueueResult, error) {
			trace, _ := ctx.Value(traceKey{}).(string)
			for i := range tasks {
				if trace == "" {
					return nil, errors.Join(task.ErrInvalid, errors.New("no trace"))
				}
				tasks[i].SetMeta("trace", trace)
			}
			return next(ctx, tasks)
		}
	}}}, func(srv *http.Server) {
		inner := srv.Handler
		srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			inner.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), traceKey{}, r.Header.Get("Traceparent"))))
		})
	})
	var one submitted
	s.into(s.ask("POST", "/v1/tasks", `{"kind": "k", "payload": 1}`, set("Traceparent", "t-1")), http.StatusCreated, &one)
	many := s.ask("POST", "/v1/tasks/batch", `{"kind": "k", "payload": 2}`, set("Traceparent", "t-1"))
	if many.status != http.StatusOK {
		t.Errorf("%+v", many)
	}
	s.refused(s.ask("POST", "/v1/tasks", `{"kind": "k", "payload": 1}`), "invalid", "no trace")
	found, err := task.NewClient(store).Find(t.Context(), task.Query{Meta: map[string]string{"trace": "t-1"}})
	if err != nil || len(found) != 2 {
		t.Errorf("%+v, %v", found, err)
	}
}
