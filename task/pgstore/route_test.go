package pgstore

import (
	"fmt"
	"testing"
)

// The numbers are stored in the tables, and must be the same in every version of the program.
func TestRoute_HasTheNumberThatIsStored(t *testing.T) {
	for r, want := range map[route]int64{
		{"k", "default"}:      -9055483582114533748,
		{"mail.send", "slow"}: -5248404309570854666,
		{"", ""}:              -2040009461386641485,
		{"größer", "日本"}:      5042743073923647085,
	} {
		if got := r.number(); got != want {
			t.Errorf("%+v: %d, want %d", r, got, want)
		}
	}
}

func TestRoute_IsAmongThoseOfItsKind(t *testing.T) {
	seen := make(map[int64]route)
	numbers := make(routeNumbers)
	for i := range 50 {
		for j := range 50 {
			r := route{fmt.Sprint("kind", i), fmt.Sprint("queue", j)}
			n := r.number()
			if n < firstRoute(r.kind) || n > lastRoute(r.kind) {
				t.Errorf("%+v: %d is not between %d and %d", r, n, firstRoute(r.kind), lastRoute(r.kind))
			}
			if other, ok := seen[n]; ok {
				t.Errorf("%+v and %+v have one number", r, other)
			}
			seen[n] = r
			for range 2 {
				if got := numbers.of(r); got != n {
					t.Errorf("%+v has the numbers %d and %d", r, n, got)
				}
			}
		}
	}
	if (route{"a", "bc"}).number() == (route{"ab", "c"}).number() {
		t.Error("a kind and a queue are not kept apart")
	}
}
