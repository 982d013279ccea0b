// Command pod is the one small program that the test cluster's own images are made of.
//
//	pod pause                 sleep until told to end, reaping orphans: the sandbox container of every Pod
//	pod serve ADDRESS TEXT    answer every HTTP request with TEXT
//	pod get URL               print what the URL answers
//	pod resolve NAME...       print the addresses of each name
//	pod connect ADDRESS       say whether a TCP connection to host:port opens within two seconds
//	pod cat FILE              print a file
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) == 0 {
		return errors.New("usage: pod pause | serve ADDRESS TEXT | get URL | resolve NAME... | connect ADDRESS | cat FILE")
	}
	rest := arguments[1:]
	switch command := arguments[0]; {
	case command == "pause" && len(rest) == 0:
		pause()
		return nil
	case command == "serve" && len(rest) == 2:
		return serve(rest[0], rest[1])
	case command == "get" && len(rest) == 1:
		return get(rest[0])
	case command == "resolve" && len(rest) > 0:
		return resolve(rest)
	case command == "connect" && len(rest) == 1:
		return connect(rest[0])
	case command == "cat" && len(rest) == 1:
		return cat(rest[0])
	default:
		return fmt.Errorf("unknown command or wrong number of arguments: %v", arguments)
	}
}

// pause ends on SIGTERM or SIGINT, and as process 1 of a namespace takes in the processes whose parents have ended.
func pause() {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			return
		}
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 && !errors.Is(err, syscall.EINTR) {
				break
			}
		}
	}
}

func serve(address, text string) error {
	server := http.Server{
		Addr:              address,
		ReadHeaderTimeout: 5 * time.Second,
		Handler: http.HandlerFunc(func(answer http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(answer, text)
		}),
	}
	return server.ListenAndServe()
}

func get(url string) error {
	client := http.Client{Timeout: 5 * time.Second}
	answer, err := client.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(os.Stdout, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode >= 400 {
		return fmt.Errorf("%s answered %s", url, answer.Status)
	}
	return nil
}

func resolve(names []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, name := range names {
		addresses, err := net.DefaultResolver.LookupHost(ctx, name)
		if err != nil {
			return err
		}
		fmt.Println(name, addresses)
	}
	return nil
}

func connect(address string) error {
	connection, err := net.DialTimeout("tcp", address, 2*time.Second)
	if err != nil {
		return err
	}
	fmt.Println("open", address)
	return connection.Close()
}

func cat(name string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(os.Stdout, file)
	return err
}
