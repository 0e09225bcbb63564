package httpapi

import (
	"errors"
	"net/http"
	"testing"

	"github.com/lastcall-go/lastcall/task"
)

func TestDelete_RemovesWhatHasEndedAndNothingElse(t *testing.T) {
	onEachStore(t, func(t *testing.T, s *site) {
		c := s.client("")
		at := "/v1/tasks/" + someID
		s.refused(s.ask("DELETE", at, ""), "not-found", "not found")
		s.refused(s.ask("DELETE", "/v1/tasks/7", ""), "not-found", "not a UUID")
		if _, err := c.Enqueue(t.Context(), "k", []byte("1"), &task.EnqueueOptions{ID: someID}); err != nil {
			t.Fatal(err)
		}
		s.refused(s.ask("DELETE", at, ""), "not-ended", "cancel it, and delete it when it has ended")
		if err := c.Delete(t.Context(), someID); !errors.Is(err, task.ErrNotEnded) {
			t.Errorf("the client, of one that waits: %v", err)
		}
		if err := c.Cancel(t.Context(), someID); err != nil {
			t.Fatal(err)
		}
		s.refused(s.ask("DELETE", at, `{"now": true}`), "invalid", "is not known: this command has reason")
		if r := s.ask("DELETE", at, ""); r.status != http.StatusNoContent || r.body != "" {
			t.Errorf("%d %s", r.status, r.body)
		}
		s.refused(s.ask("GET", at, ""), "not-found", "not found")
		if err := c.Delete(t.Context(), someID); !errors.Is(err, task.ErrNotFound) {
			t.Errorf("the client, again: %v", err)
		}
		if got, err := c.Enqueue(t.Context(), "other", []byte("2"), &task.EnqueueOptions{ID: someID}); err != nil || got.Existed {
			t.Errorf("its id: %+v, %v", got, err)
		}
	})
}
