
aroot"_tf_keras_sequential*C{"name": "m", "class_name": "Sequential", "config": {"layers": []}}