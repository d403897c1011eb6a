// net/http, as its documentation writes a server. Compiled with each of the Go releases under audit.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "ok") })
	log.Fatal(http.ListenAndServe(":"+os.Args[1], nil))
}
