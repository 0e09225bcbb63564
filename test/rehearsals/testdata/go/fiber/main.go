// A server as in Fiber's quick start. With "shutdown" it is Fiber's recipe for a graceful shutdown.
package main

import (
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gofiber/fiber/v3"
)

func main() {
	app := fiber.New()
	app.Get("/", func(c fiber.Ctx) error { return c.SendString("hello\n") })
	app.Get("/slow", func(c fiber.Ctx) error {
		time.Sleep(1500 * time.Millisecond)
		return c.SendString("done\n")
	})
	address := "127.0.0.1:" + os.Getenv("PORT")
	if len(os.Args) < 2 {
		log.Fatal(app.Listen(address))
	}
	go func() {
		if err := app.Listen(address); err != nil {
			log.Panic(err)
		}
	}()
	c := make(chan os.Signal, 1)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM)
	<-c
	_ = app.Shutdown()
}
