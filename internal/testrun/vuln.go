package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// govulncheck looks for known vulnerabilities in what the modules call, in the
// database that GOVULNDB names. It is left out when that database does not
// answer or the tool is not installed, and only then: what goes wrong after
// that is a failure.
func govulncheck(modules []module, database string) func(context.Context) result {
	database = cmp.Or(database, "https://vuln.go.dev")
	return func(ctx context.Context) result {
		if err := reach(ctx, database); err != nil {
			return leftOut(fmt.Sprintf("the database does not answer: %v (set GOVULNDB to one that does)", err))
		}
		var failures strings.Builder
		for _, m := range modules {
			r := command(m.dir, nil, "govulncheck", "-db", database, "-test", "./...")(ctx)
			if r.leftOut != "" {
				return r
			}
			failures.WriteString(r.failure)
		}
		return result{failure: failures.String()}
	}
}

// reach asks a database for the file that every one has.
func reach(ctx context.Context, database string) error {
	where, err := url.Parse(database)
	if err != nil {
		return err
	}
	if where.Scheme == "file" {
		_, err := os.Stat(filepath.Join(filepath.FromSlash(where.Path), "index", "db.json"))
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(database, "/")+"/index/db.json", nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", req.URL, answer.Status)
	}
	return nil
}
