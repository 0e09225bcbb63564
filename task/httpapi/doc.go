// Package httpapi offers the tasks of a store on HTTP, for programs in any language, and has the Go
// client of that interface.
//
// [New] makes the handler and [NewServer] a server with limits for it; [ProbeHandler] is the
// handler for those who ask only whether the process lives and is ready. [Client] has the verbs of
// [task.Client] with the same types and errors, so that code can be written for either. The
// interface itself is described by the OpenAPI document at /v1/openapi.json, and for people in
// docs/http.md.
//
// # What is promised
//
// An answer of 200 or 201 to a submit means that the task survives the process. A submit that
// carries an id may be sent again after any other answer, and after none: it makes no second task.
// A kind that no worker knows is accepted, since the worker may come with the next deploy; the
// answer says in waitsFor that nobody knows it now.
//
// Reading and submitting go on during a drain, until the listener has closed. Streams of events end
// at last call, and their clients go on elsewhere.
//
// # Who may ask
//
// A page in a browser of this machine can send requests anywhere, and a task can be a program that
// is run. So also on loopback, where no token is needed, a request that changes something must have
// the Content-Type application/json, which no page may send to another origin unasked; it must not
// come from another origin; and its Host must be a name of this machine, so that a foreign name
// that was made to point here is refused. On any other address [Tokens] are needed: [New] refuses
// to be without.
//
// # What is not promised
//
// Events say what this process sees: at once what its own worker and this interface do, and by
// polling the store once a second what others do. What is over between two polls is told by the
// changed counts alone. There is no limit for the number of requests of one client.
package httpapi
