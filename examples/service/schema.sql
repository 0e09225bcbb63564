-- Several processes may begin at once.
select pg_advisory_xact_lock(20);
create table if not exists orders (id text primary key, lines int not null);
-- Nothing here keeps a label from being there twice.
create table if not exists labels (order_id text not null references orders, line int not null);
