import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;

/** A server of lines on TCP that closes its connections, resets none, and exits with 0. */
class Main {
    static final int DELAY = 3; // seconds after the signal, while clients are still routed here
    static final int PATIENCE = 5; // seconds for clients that do not close their side

    static final Set<Socket> connections = ConcurrentHashMap.newKeySet();

    static void serve(Socket connection) {
        try (connection) {
            BufferedReader in = new BufferedReader(new InputStreamReader(connection.getInputStream()));
            while (in.readLine() != null) {
                if (!connection.isOutputShutdown()) {
                    connection.getOutputStream().write("pong\n".getBytes());
                }
            }
        } catch (IOException e) {
            // The client has gone.
        } finally {
            connections.remove(connection);
        }
    }

    static void stop() {
        pause(DELAY * 1000);
        for (Socket connection : connections) {
            try {
                // No answer is lost: the client reads up to the end, and then closes its side.
                connection.shutdownOutput();
            } catch (IOException e) {
                // The client has gone.
            }
        }
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE);
        while (!connections.isEmpty() && System.nanoTime() < deadline) {
            pause(50);
        }
        Runtime.getRuntime().halt(0); // otherwise the virtual machine exits with 143
    }

    public static void main(String[] args) throws IOException {
        String host = System.getenv().getOrDefault("HOST", "0.0.0.0");
        int port = Integer.parseInt(System.getenv().getOrDefault("PORT", "8080"));
        ServerSocket server = new ServerSocket();
        server.bind(new InetSocketAddress(host, port), 128);
        Runtime.getRuntime().addShutdownHook(new Thread(Main::stop));
        while (true) {
            Socket connection = server.accept();
            connections.add(connection);
            new Thread(() -> serve(connection)).start();
        }
    }

    static void pause(int millis) {
        try {
            TimeUnit.MILLISECONDS.sleep(millis);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
