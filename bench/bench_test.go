package main

import (
	"fmt"
	"os"
	"testing"

	"github.com/lastcall-go/lastcall/internal/pgtest"
)

// The test binary takes the program's place where a measure starts it anew.
func TestMain(m *testing.M) {
	beServer()
	beWorker()
	var err error
	if shared, err = pgtest.Start("fsync=off"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := shared.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// The benchmarks are part of what is promised, so they must not rot: each
// contender runs with a hundredth of its load, in this process.
func TestEveryContenderWorks(t *testing.T) {
	load = 100
	for _, m := range measures {
		for _, c := range m.contenders {
			t.Run(m.name+"/"+c.name, func(t *testing.T) {
				if _, err := c.run(); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}

func TestVerdicts(t *testing.T) {
	m := measure{unit: "ms", contenders: []contender{{name: "a"}, {name: "b"}}}
	rounds := []map[string]float64{{"a": 30, "b": 10}, {"a": 20, "b": 10}, {"a": 10, "b": 10}}
	for _, c := range []struct {
		name string
		v    verdict
		ok   bool
		text string
	}{
		{"ratio at its target", ratioAtMost(2)(m, rounds), true, "a is 2.00 x b (1.00 to 3.00), at most 2.0 x wanted"},
		{"ratio above it", ratioAtMost(1.9)(m, rounds), false, "a is 2.00 x b (1.00 to 3.00), at most 1.9 x wanted"},
		{"figure", atMost(20)(m, rounds), true, "a takes 20.0 ms, at most 20 wanted"},
		{"difference", differenceAtMost(9, "b")(m, rounds), false, "a takes 10 ms more than b, at most 9 wanted"},
	} {
		if c.v.ok != c.ok || c.v.text != c.text {
			t.Errorf("%s: %+v, want %v %q", c.name, c.v, c.ok, c.text)
		}
	}
}
