package docs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A snippet is completed before it is checked. packages are those that a snippet may name without
// an import of its own.
var packages = []string{
	"context",
	"encoding/json",
	"fmt",
	"log/slog",
	"net",
	"net/http",
	"net/http/pprof",
	"os",
	"os/exec",
	"slices",
	"testing",
	"testing/synctest",
	"time",
	"github.com/jackc/pgx/v5",
	"github.com/jackc/pgx/v5/pgxpool",
	"github.com/lastcall-go/lastcall",
	"github.com/lastcall-go/lastcall/rehearse",
	"github.com/lastcall-go/lastcall/task",
	"github.com/lastcall-go/lastcall/task/cron",
	"github.com/lastcall-go/lastcall/task/httpapi",
	"github.com/lastcall-go/lastcall/task/memstore",
	"github.com/lastcall-go/lastcall/task/pgstore",
	"github.com/lastcall-go/lastcall/task/tasktest",
	"github.com/riverqueue/river",
	"golang.org/x/sync/errgroup",
	"google.golang.org/grpc",
	"google.golang.org/grpc/health",
	"google.golang.org/grpc/health/grpc_health_v1",
}

// given are the declarations that the snippets of a page take from the program around them.
var given = map[string]string{
	"CONTRIBUTING.md": `
		var t      *testing.T
		var rounds int`,
	"README.md": `
		type ImportArgs struct{ URL string }
		type Row        struct{ ID int }
		var mux *task.Mux
		func pull(context.Context, ImportArgs) ([]Row, error) { return nil, nil }
		func insert(context.Context, Row) error { return nil }`,
	"docs/agents.md": `
		type Row struct{ ID int }
		func pull(context.Context, string) ([]Row, error) { return nil, nil }
		func insert(context.Context, Row) error { return nil }
		func api(*task.Client) *http.Server { return nil }
		type ImportArgs struct{ URL string }
		var Import task.Kind[ImportArgs]
		func importRows(context.Context, *task.Run, ImportArgs) error { return nil }`,
	"docs/from-asynq.md": `
		var g        *lastcall.Group
		var handlers any
		var server   interface {
			Start(handler any) error
			Shutdown()
		}
		func sendWelcome(ctx context.Context, user int) error { return nil }`,
	"docs/from-errgroup.md": `
		func consume(context.Context) error { return nil }
		func warmUp(context.Context) error { return nil }
		func fetch(ctx context.Context, url string) error { return nil }`,
	"docs/from-river.md": `
		var g      *lastcall.Group
		var client *river.Client[pgx.Tx]
		type SortArgs struct{ Strings []string }
		var Sort task.Kind[SortArgs]`,
	"docs/http.md": `
		var ctx      context.Context
		var g        *lastcall.Group
		var listener net.Listener
		var log      *slog.Logger
		var mux      *task.Mux
		var payload  []byte
		var secret   string
		var store    task.Store
		var tokens   *httpapi.Tokens`,
	"docs/schedules.md": `
		type ImportArgs struct{ Full bool }
		var entries []task.ScheduleEntry`,
	"docs/shutdown.md": `
		var g        *lastcall.Group
		var listener net.Listener
		var metrics  http.Handler
		func news(context.Context) (string, error) { return "", nil }`,
	"docs/stores.md": `
		var ctx  context.Context
		var pool *pgxpool.Pool`,
	"docs/tasks.md": `
		var index, reminders task.Kind[string]
		type Args struct{ File string }
		type letters   struct{ To []string }
		type letterbox []string
		var readers   letters
		var client    *task.Client
		var mux       *task.Mux
		var traceOf   func(context.Context) string
		var withTrace func(context.Context, string) context.Context
		func pull(ctx context.Context, month string) (s struct{ Files []string }, err error) { return s, err }
		func convert(ctx context.Context, file string) error { return nil }
		func notify(ctx context.Context, key string) error { return nil }
		func sendLetters(*letterbox) func(context.Context, *task.Run, letters) error { return nil }`,
	"docs/transactions.md": `
		type Order   struct{ ID, Total int }
		type Receipt struct{ Order int }
		type Invoice struct{ ID int }
		type Video   struct{ ID, Chunks int }
		var SendReceipt task.Kind[Receipt]
		var Settle      task.Kind[Invoice]
		var Transcode   task.Kind[Video]
		var mux  *task.Mux
		var pool *pgxpool.Pool`,
}

var (
	major    = regexp.MustCompile(`^v\d+$`)
	fenced   = regexp.MustCompile("(?ms)^```go\n(.*?)^```$")
	indented = regexp.MustCompile(`(?m)^( {4}|\t)(.*:= |(func|package|import|type|defer|if|for) .*[({"]$)`)
)

func TestSnippets_OfGoCompile(t *testing.T) {
	checker := newChecker(t)
	found := map[string]int{}
	err := filepath.WalkDir("..", func(file string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && file != ".." && strings.HasPrefix(d.Name(), ".") {
			return fs.SkipDir
		}
		if err != nil || filepath.Ext(file) != ".md" {
			return err
		}
		page, text := strings.TrimPrefix(filepath.ToSlash(file), "../"), read(t, file)
		var snippets []string
		for _, m := range fenced.FindAllStringSubmatch(text, -1) {
			snippets = append(snippets, m[1])
		}
		for _, err := range checker.check(given[page], snippets) {
			t.Errorf("%s: %v", page, err)
		}
		if line := indented.FindString(fenced.ReplaceAllString(text, "")); line != "" {
			t.Errorf("%s has Go that is not between ```go and ```, and so is not checked: %s", page, line)
		}
		found[page] = len(snippets)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for page := range given {
		if found[page] == 0 {
			t.Errorf("given has declarations for %s, which has no snippet", page)
		}
	}
}

func TestSnippets_ThatDoNotCompileAreFound(t *testing.T) {
	checker := newChecker(t)
	for snippet, want := range map[string]string{
		`err := lastcall.Mian(nil)`:             "undefined: lastcall.Mian",
		`for e := range c.Events(ctx) { ... }`:  "expected",
		`var g *lastcall.Group = new(task.Mux)`: "cannot use",
		`missing.Call(mux)`:                     "undefined: missing",
		`package main; import "os"`:             `"os" imported and not used`,
		`func f(*task.Mux) error {}`:            "missing return",
		`var worker *task.Worker`:               "mux is given and not used",
	} {
		err := errors.Join(checker.check("var mux *task.Mux", []string{snippet})...)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\ngives %v, want %s", snippet, err, want)
		}
	}
}

// A checker checks the types of snippets against compiled packages, which come from the build
// cache. The module of the benchmarks requires all that snippets name.
type checker struct {
	files   *token.FileSet
	exports types.Importer
}

func newChecker(t *testing.T) checker {
	args := []string{"list", "-export", "-deps", "-json=ImportPath,Export", "github.com/lastcall-go/lastcall/examples/hello"}
	list := exec.CommandContext(t.Context(), "go", append(args, packages...)...)
	list.Dir = "../bench"
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		t.Fatalf("%v: %v", list, err)
	}
	compiled := map[string]string{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct{ ImportPath, Export string }
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		compiled[p.ImportPath] = p.Export
	}
	files := token.NewFileSet()
	return checker{files, importer.ForCompiler(files, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(compiled[path])
	})}
}

// check returns what is wrong with the snippets of a page.
func (c checker) check(given string, snippets []string) (wrong []error) {
	used := map[string]bool{}
	for i, text := range snippets {
		snippet, err := c.complete(text)
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		page := []*ast.File{snippet}
		if snippet.Name.Name == "snippet" && given != "" {
			around, err := c.parse("package snippet\n" + given)
			if err != nil {
				return append(wrong, fmt.Errorf("what is given: %w", err))
			}
			page = append(page, without(around, snippet))
		}
		conf := types.Config{Importer: c.exports, Error: func(err error) {
			// A fragment ends before its variables are used.
			e, ok := errors.AsType[types.Error](err)
			if !ok || !e.Soft || snippet.Name.Name != "snippet" {
				wrong = append(wrong, fmt.Errorf("snippet %d: %w:\n%s", i+1, err, text))
			}
		}}
		info := types.Info{Uses: map[*ast.Ident]types.Object{}}
		_, _ = conf.Check("snippet", c.files, page, &info) // Error has the errors
		for _, object := range info.Uses {
			used[object.Name()] = true
		}
	}
	for _, name := range regexp.MustCompile(`(?m)^\s*(?:var|type|func) (\w+)`).FindAllStringSubmatch(given, -1) {
		if !used[name[1]] {
			wrong = append(wrong, fmt.Errorf("%s is given and not used", name[1]))
		}
	}
	return wrong
}

// without takes out of what is given the declarations that a snippet has itself: others of its page
// do not see those.
func without(given, snippet *ast.File) *ast.File {
	declared := map[string]bool{}
	for _, d := range snippet.Decls {
		for _, name := range namesOf(d) {
			declared[name] = true
		}
	}
	given.Decls = slices.DeleteFunc(given.Decls, func(d ast.Decl) bool {
		return slices.ContainsFunc(namesOf(d), func(name string) bool { return declared[name] })
	})
	return given
}

// namesOf are the names that a declaration of one function, or of types or variables, declares.
func namesOf(d ast.Decl) (names []string) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		names = append(names, d.Name.Name)
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				names = append(names, s.Name.Name)
			case *ast.ValueSpec:
				for _, n := range s.Names {
					names = append(names, n.Name)
				}
			}
		}
	}
	return names
}

// complete makes a file of a snippet, which is a whole file, declarations, or statements.
func (c checker) complete(text string) (*ast.File, error) {
	if strings.HasPrefix(text, "package ") {
		return parser.ParseFile(c.files, "", text, 0)
	}
	file, err := c.parse("package snippet\n" + text)
	if err != nil {
		file, err = c.parse("package snippet\nfunc _() {\n" + text + "}")
	}
	if err != nil {
		return nil, fmt.Errorf("%w:\n%s", err, text)
	}
	return file, nil
}

// parse parses a file that has no imports, and imports what it names.
func (c checker) parse(text string) (*ast.File, error) {
	file, err := parser.ParseFile(c.files, "", text, 0)
	if err != nil {
		return nil, err
	}
	head, body, _ := strings.Cut(text, "\n")
	for _, p := range packages {
		name := path.Base(p)
		if major.MatchString(name) {
			name = path.Base(path.Dir(p))
		}
		if slices.ContainsFunc(file.Unresolved, func(id *ast.Ident) bool { return id.Name == name }) {
			head += fmt.Sprintf("; import %q", p)
		}
	}
	return parser.ParseFile(c.files, "", head+"\n"+body, 0)
}
